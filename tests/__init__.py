"""Tests. Each folder says what it needs: unit/ nothing, integration/ real servers."""
