"""Reading a folder of models. Everything that is wrong is reported at once, with file and path.

The form of a file is written down in `model.schema.json`; tests hold this reader and the schema to
each other, so that running needs no JSON Schema library.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from deploy.catalog.endpoints import read_endpoints, read_output_tokens_max
from deploy.catalog.fields import Fields, Problem
from shared.events.catalog import EMBEDDINGS, Capabilities, ModelListed

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._:-]*")


class CatalogProblems(Exception):  # noqa: N818 - it carries several
    """The folder cannot be used; `problems` says why, in order of the files."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    name: str
    model: ModelListed


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that does not let the second of two equal keys win in silence."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_folder(folder: Path, *, version: int) -> list[ModelListed]:
    """The models of all `*.yaml` files below a folder, by slug, each as an event of this version.

    Raises CatalogProblems with everything that is wrong in any of them.
    """
    problems: list[Problem] = []
    paths = sorted(folder.rglob("*.yaml"))
    if not paths:
        message = "has no *.yaml file" if folder.is_dir() else "is not a folder"
        raise CatalogProblems([Problem(file=str(folder), path="", message=message)])
    files = [_file(path, folder, version, problems) for path in paths]
    owners: dict[str, str] = {}
    for file in files:
        slug = file.model.slug
        if slug and owners.setdefault(slug, file.name) != file.name:
            message = f"{slug!r} is already listed by {owners[slug]}"
            problems.append(Problem(file=file.name, path="slug", message=message))
    if problems:
        raise CatalogProblems(sorted(problems, key=lambda problem: problem.file))
    return sorted((file.model for file in files), key=lambda model: model.slug)


def _file(path: Path, folder: Path, version: int, problems: list[Problem]) -> _File:
    name = path.relative_to(folder).as_posix()
    content: Any = None
    try:
        # The loader is a SafeLoader, which builds nothing but plain values.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, OSError, RecursionError) as problem:
        message = " ".join(str(problem).split())
        problems.append(Problem(file=name, path="", message=f"cannot be read: {message}"))
        problems = []
    if not isinstance(content, dict):
        problems.append(Problem(file=name, path="", message="must be a mapping of fields"))
        content, problems = {}, []
    fields = Fields(content, file=name, path="", problems=problems)
    return _File(name=name, model=_model(fields, version))


def _model(fields: Fields, version: int) -> ModelListed:
    slug = fields.text("slug", pattern=_SLUG, example="author/model")
    capabilities = _capabilities(fields.part("capabilities"))
    embeds = capabilities.embeds
    model = ModelListed(
        version=version,
        slug=slug,
        name=fields.text("name"),
        created=fields.unix_seconds("created"),
        description=fields.text("description"),
        context_length_tokens=fields.tokens("context_length_tokens"),
        output_tokens_max=read_output_tokens_max(fields, embeds=embeds),
        capabilities=capabilities,
        endpoints=read_endpoints(fields, embeds=embeds),
    )
    fields.finish()
    return model


def _capabilities(fields: Fields) -> Capabilities:
    capabilities = Capabilities(
        input_modalities=fields.texts("input_modalities"),
        output_modalities=fields.texts("output_modalities"),
        tokenizer=fields.text("tokenizer"),
        supported_parameters=fields.texts("supported_parameters"),
    )
    if capabilities.embeds and len(capabilities.output_modalities) > 1:
        fields.note("output_modalities", f"{EMBEDDINGS} stands alone")
    fields.finish()
    return capabilities
