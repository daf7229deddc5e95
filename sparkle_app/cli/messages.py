"""What ``gen-config`` says, in English and in Russian."""

import os

ENGLISH = {
    "plugins": "Installed plugins:",
    "choose": "Plugins, by number or name, separated by commas [{default}]: ",
    "address": "Address of the broker, as the hosts see it [{default}]: ",
    "port": "Port of the broker [{default}]: ",
    "interval": "Seconds between two collections [{default}]: ",
    "id": "Number (id) of this config [{default}]: ",
    "output": "Folder for config.tar.xz [{default}]: ",
    "local": "warning: {address} is this machine; collectors on other hosts cannot reach a broker there",
    "summary": "This will be written:",
    "archive": "  {path}: for the collectors; collects {plugins} every {interval} s, sends to {address}:{port}",
    "key": "  {path}: the private key, RSA-{bits}",
    "sure": "Write it? [Y/n]: ",
    "yes": "y yes",
    "no": "n no",
    "nothing": "Nothing was written.",
    "done": "Made {archive}",
    "next": "Next: copy it into the collector's folder on each host, and restart the collector there.",
    "secret": "Keep {key} secret and back it up: whoever has it can read these hosts' readings,"
    " and without it nobody can.",
    "number": "expected a whole number from {min} to {max}, found {found!r}",
    "no_address": "expected a name or address without a port, found {found!r}",
    "taken": "{path} is there already: move it, or choose another folder",
    "used": "{path} is there already and is never overwritten: choose another number",
    "unknown": "expected a plugin's number or name, found {found!r}; there are: {known}",
    "answer": "expected y or n, found {found!r}",
}

RUSSIAN = {
    "plugins": "Установленные плагины:",
    "choose": "Плагины: номера или имена через запятую [{default}]: ",
    "address": "Адрес брокера, каким его видят хосты [{default}]: ",
    "port": "Порт брокера [{default}]: ",
    "interval": "Секунд между двумя сборами [{default}]: ",
    "id": "Номер (id) этой конфигурации [{default}]: ",
    "output": "Папка для config.tar.xz [{default}]: ",
    "local": "внимание: {address} — это сама эта машина; коллекторы с других хостов до такого брокера не достучатся",
    "summary": "Будет записано:",
    "archive": "  {path}: для коллекторов; собирает {plugins} каждые {interval} с, отправляет на {address}:{port}",
    "key": "  {path}: закрытый ключ, RSA-{bits}",
    "sure": "Записать? [Д/н]: ",
    "yes": "д да y yes",
    "no": "н нет n no",
    "nothing": "Ничего не записано.",
    "done": "Готово: {archive}",
    "next": "Дальше: скопируйте архив в папку коллектора на каждом хосте и перезапустите там коллектор.",
    "secret": "Храните {key} в секрете и сделайте резервную копию: у кого он есть, тот прочитает показания"
    " этих хостов, а без него их не прочитает никто.",
    "number": "нужно целое число от {min} до {max}, а введено {found!r}",
    "no_address": "нужно имя или адрес без порта, а введено {found!r}",
    "taken": "{path} уже есть: уберите его или выберите другую папку",
    "used": "{path} уже есть и никогда не перезаписывается: выберите другой номер",
    "unknown": "нужен номер или имя плагина, а введено {found!r}; есть: {known}",
    "answer": "нужно «д» или «н», а введено {found!r}",
}


def messages() -> dict[str, str]:
    """The texts in the user's language: Russian where the locale is, English elsewhere."""
    # The first of these that is set decides (POSIX.1-2017, 8.2).
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return RUSSIAN if locale.lower().startswith("ru") else ENGLISH
