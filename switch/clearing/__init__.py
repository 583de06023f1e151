"""The journal's rows and the views read from them: clearing records, batches, totals, reconciliation."""
