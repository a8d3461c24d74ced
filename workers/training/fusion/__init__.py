"""What each detector's evidence is worth, beside all the others: collected, set beside, fitted."""
