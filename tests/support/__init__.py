"""What tests share: real processes, small models, servers, miniatures of data sets."""
