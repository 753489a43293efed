"""What a run has learned: strongest images, edges among its filters, and a report."""

from yfccdask.analysis.edge_share import EdgeShare, EdgeShares, edge_shares
from yfccdask.analysis.strongest_pass import strongest_images

__all__ = ["EdgeShare", "EdgeShares", "edge_shares", "strongest_images"]
