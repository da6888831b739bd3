"""What is written for readers in other processes: nothing here changes a decision."""
