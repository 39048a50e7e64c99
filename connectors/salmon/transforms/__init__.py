"""What a flow does to records on their way to a side: filters, masks, forms of values. Pure: no I/O, no clock, no library."""
