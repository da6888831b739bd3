"""Taking up what runs already, and what is wrong with it: pure judgements on facts and probes."""
