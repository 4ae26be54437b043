"""Measures: functions of what an extractor says of real and generated rows, or of a model's verbs; one file each."""
