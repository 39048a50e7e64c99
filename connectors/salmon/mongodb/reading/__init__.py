"""The MongoDB source: change stream events and rows in, changes out."""
