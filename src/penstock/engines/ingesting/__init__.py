"""Brings what sources give into their landings."""
