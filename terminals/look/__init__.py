"""One card under the glass: `shoudan tap` and `shoudan insert`, every byte opened and told why."""
