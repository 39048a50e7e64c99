"""What an operator does about deletes that a sink's guard holds back."""
