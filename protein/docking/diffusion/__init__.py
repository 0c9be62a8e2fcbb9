"""The flow network of docking: its layers, its training batches, and the poses that it draws."""
