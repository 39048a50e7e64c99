"""What the org's objects are: from describe files, from lines of ours, and as administrators change them."""
