"""Formats that win over those of the language: https://docs.djangoproject.com/en/5.2/topics/i18n/formatting/"""
