"""Secret references and their backends, and the key ring of active secrets."""
