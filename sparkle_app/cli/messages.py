"""The messages of ``gen-config``, in English and in Russian."""

import os

ENGLISH = {
    "plugins": "Installed plugins:",
    "choose_plugins": "Plugins, by number or name, separated by commas [{default}]: ",
    "address": "Broker address, as seen from the hosts [{default}]: ",
    "port": "Broker port [{default}]: ",
    "interval": "Collection interval in seconds [{default}]: ",
    "id": "Config id [{default}]: ",
    "output": "Folder for config.tar.xz [{default}]: ",
    "local_address": "warning: {address} is this machine; collectors on other hosts cannot reach a broker at this"
    " address",
    "summary": "The following files will be written:",
    "archive": "  {path}: config archive; plugins {plugins}, interval {interval} s, broker {address}:{port}",
    "key": "  {path}: private key, RSA-{bits}",
    "confirm": "Continue? [Y/n]: ",
    "yes": "y yes",
    "no": "n no",
    "nothing_written": "Nothing was written.",
    "done": "Created {archive}",
    "next": "Next: copy it into the collector's folder on each host, and restart the collector.",
    "key_warning": "Keep {key} secret and back it up: anyone who has it can decrypt the readings of these hosts,"
    " and nobody can without it.",
    "invalid_number": "expected a whole number from {min} to {max}, found {found!r}",
    "invalid_address": "expected a hostname or IP address without a port, found {found!r}",
    "archive_exists": "{path} already exists: move it, or choose another folder",
    "key_exists": "{path} already exists and is never overwritten: choose another id",
    "unknown_plugin": "expected the number or name of an installed plugin, found {found!r}; installed: {known}",
    "invalid_answer": "expected y or n, found {found!r}",
}

RUSSIAN = {
    "plugins": "Установленные плагины:",
    "choose_plugins": "Плагины, номера или имена через запятую [{default}]: ",
    "address": "Адрес брокера, доступный с хостов [{default}]: ",
    "port": "Порт брокера [{default}]: ",
    "interval": "Интервал сбора, секунд [{default}]: ",
    "id": "Номер конфигурации (id) [{default}]: ",
    "output": "Каталог для config.tar.xz [{default}]: ",
    "local_address": "предупреждение: {address} — адрес этой же машины; коллекторы на других хостах не смогут"
    " подключиться к брокеру по этому адресу",
    "summary": "Будут записаны файлы:",
    "archive": "  {path}: архив конфигурации; плагины {plugins}, интервал {interval} с, брокер {address}:{port}",
    "key": "  {path}: закрытый ключ, RSA-{bits}",
    "confirm": "Продолжить? [Д/н]: ",
    "yes": "д да y yes",
    "no": "н нет n no",
    "nothing_written": "Ничего не записано.",
    "done": "Создан архив {archive}",
    "next": "Скопируйте его в каталог коллектора на каждом хосте и перезапустите коллектор.",
    "key_warning": "Храните {key} в секрете и сделайте резервную копию: с этим ключом любой расшифрует показания"
    " этих хостов, а без него их не расшифровать.",
    "invalid_number": "ожидалось целое число от {min} до {max}, введено {found!r}",
    "invalid_address": "ожидалось имя хоста или IP-адрес без порта, введено {found!r}",
    "archive_exists": "{path} уже существует: переместите его или выберите другой каталог",
    "key_exists": "{path} уже существует и никогда не перезаписывается: выберите другой номер",
    "unknown_plugin": "ожидался номер или имя установленного плагина, введено {found!r}; установлены: {known}",
    "invalid_answer": "ожидалось «д» или «н», введено {found!r}",
}


def messages() -> dict[str, str]:
    """The messages in the language of the locale: Russian or, for any other locale, English."""
    # The first of these that is set takes precedence (POSIX.1-2017, 8.2).
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return RUSSIAN if locale.lower().startswith("ru") else ENGLISH
