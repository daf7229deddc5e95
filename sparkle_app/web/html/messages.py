"""Texts of the login page in English and Russian."""

import re

ENGLISH = {
    "title": "Log in · Sparkle-M handler",
    "heading": "Log in",
    "token": "Token",
    "hint": "The value of web.token or web.operator_token in the settings of the workers.",
    "submit": "Log in",
    "wrong": "Invalid token.",
    "too_many": "Too many attempts. Try again in {seconds} s.",
    "cookies": "The browser must accept cookies of this site.",
}
RUSSIAN = {
    "title": "Вход · Обработчик Sparkle-M",
    "heading": "Вход",
    "token": "Токен",
    "hint": "Значение web.token или web.operator_token из настроек воркеров.",
    "submit": "Войти",
    "wrong": "Неверный токен.",
    "too_many": "Слишком много попыток. Повторите через {seconds} с.",
    "cookies": "Браузер должен принимать cookie этого сайта.",
}
LANGUAGES = {"en": ENGLISH, "ru": RUSSIAN}
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,60})?\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?\s*", re.ASCII
)


def language(accepted: str) -> str:
    """The language that the header Accept-Language prefers; English if it names neither.

    Arguments:
        accepted: the header; empty if there is none.
    """
    weights: dict[str, float] = {}
    for part in accepted.split(",")[:50]:
        if found := _RANGE.fullmatch(part):
            name = found[1].lower()
            weights[name] = max(weights.get(name, 0.0), float(found[2] or 1))
    return max(LANGUAGES, key=lambda name: weights.get(name, 0.0))
