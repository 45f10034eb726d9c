"""One module a group of rows; each has `measure(quick, work)`."""
