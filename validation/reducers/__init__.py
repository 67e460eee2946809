"""The reduction rules of published methods as pure functions on tensors, one file per method."""
