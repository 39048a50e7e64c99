"""Whether everything is as a sync needs it: one line for each precondition, with what to do about it."""
