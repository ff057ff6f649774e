"""The fold over the log and what it feeds: policies, reports, decisions."""
