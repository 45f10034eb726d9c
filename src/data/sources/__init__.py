"""Sources, which make missing data sets."""
