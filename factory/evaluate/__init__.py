"""What data sets and models are worth: the metrics of the field, with the spread of each figure. Only the command line
imports this room."""
