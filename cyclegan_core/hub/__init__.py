"""The Hugging Face Hub: find, fetch, verify, publish."""
