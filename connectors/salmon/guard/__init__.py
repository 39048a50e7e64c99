"""An operator's decisions about deletes that wait because a sink's guard has stopped them."""
