"""The steps of an ingest, in the order in which a photograph meets them.

`sequence` puts files in order, `waves` leads wave after wave, `batches` decodes files, `duplicates`
knows what was there before, `gathering` fills blocks, `ledger` remembers what is done;
`additions` adds to a store that is there, `requests` says what is asked, `tasks` runs it.
"""
