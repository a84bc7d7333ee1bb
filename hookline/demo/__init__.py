"""`hookline demo`: the whole way of a webhook on one machine, shown live and then checked."""
