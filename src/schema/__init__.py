"""What a config may say: types and bounds, checked before anything is built."""
