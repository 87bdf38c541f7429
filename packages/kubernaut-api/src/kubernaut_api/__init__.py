"""Pydantic models of the kubernaut.ai resources and the CRDs generated from them."""
