"""Times, tables and options that all experiments share."""
