"""What a person sees while a run goes on: progress in terminals, summaries, pages."""
