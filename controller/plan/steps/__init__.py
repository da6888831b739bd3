"""The plan and its steps: where what is to be done is put down and ordered."""
