"""The steps, oldest first: NNNN_what_it_does.py. A step that was released is never changed."""
