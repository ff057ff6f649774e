"""One script per question: `python -m bench.<name>` prints a table and, last, one line `RESULT {json}`."""
