"""Who writes to us in the demo world: names that nobody in particular has, and addresses that are nobody's.

Numbers are of the ranges that authorities keep for fiction: +1 555 is no area code; Ofcom's 07700 900000-900999,
ARCEP's 06 39 98 00 00-99 99, the Bundesnetzagentur's 0176 040690 00-99. Mail goes to the reserved example.com,
example.net and example.org (RFC 2606).
"""

import random
import unicodedata
from dataclasses import dataclass

NAMES = {
    "en": (
        "Amelia Ben Chloe Daniel Esther Finn Grace Hugo Isla Jonah Kezia Liam Maya Noah Olive Priya Quentin Ruth Sam "
        "Tessa Umar Violet Will Zoe",
        "Abbott Bell Carver Dalton Everly Fraser Grant Hale Ingram Joyce Keane Lowell Marsh Nolan Okafor Pryce Quinn "
        "Reyes Sutton Tran Usher Vance Whitlock Young",
    ),
    "de": (
        "Anke Bernd Carla Dieter Elif Florian Greta Hannes Ines Jürgen Käthe Lukas Miriam Nils Öykü Paul Rosa Sören",
        "Albrecht Brandt Çelik Dörfler Eckstein Fuchs Groß Hübner Jäger Kühn Lorenz Möller Neumann Pohl Richter Weiß",
    ),
    "fr": (
        "Aurélie Bastien Camille Didier Élodie Fabrice Gaëlle Hervé Inès Julien Léa Mathis Noémie Rémi Zoé",
        "Aubert Barbier Chevalier Dufour Étienne Fabre Garnier Jacquet Lefèvre Marchand Noël Perrin Roussel Vidal",
    ),
    "es": (
        "Alba Bruno Carmen Diego Elena Iker Julia Lucía Mateo Noa Pablo Rocío Sergio Ximena",
        "Aguilar Blanco Campos Delgado Esteban Fuentes Ibáñez Lozano Muñoz Núñez Peña Rubio Soto Vega",
    ),
    "ja": (
        "葵 海斗 花 健太 桜 翔 七海 遥 大輝 美咲 陸 由美",
        "青木 石井 上田 岡田 加藤 木村 小林 斎藤 高橋 中村 林 山口",
    ),
}
MAIL_DOMAINS = ("example.com", "example.net", "example.org")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, with the one address of each kind that they have."""

    first: str
    last: str
    name: str
    phone: str
    email: str


class Crowd:
    """Makes people, no two with the same address."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.count = 0

    def somebody(self, language: str) -> Person:
        """Return a new person with a name of that language."""
        firsts, lasts = (names.split() for names in NAMES[language])
        first, last = self.dice.choice(firsts), self.dice.choice(lasts)
        self.count += 1
        name = f"{last} {first}" if language == "ja" else f"{first} {last}"
        return Person(first, last, name, self._phone(language), self._email(first, last))

    def _phone(self, language: str) -> str:
        number = self.count
        if language == "de" and number < 100:
            return f"+49176040690{number:02}"
        if language == "fr":
            return f"+33639{980000 + number % 10_000:06}"
        if language == "en" and number % 7 == 0 and number < 7_000:
            return f"+447700900{number // 7:03}"
        return f"+1555{2_000_000 + number:07}"

    def _email(self, first: str, last: str) -> str:
        plain = (unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() for name in (first, last))
        local = ".".join(filter(None, plain)).lower() or "guest"
        return f"{local}.{self.count}@{self.dice.choice(MAIL_DOMAINS)}"
