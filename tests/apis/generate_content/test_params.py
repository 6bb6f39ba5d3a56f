"""The parameters: complete by the catalogue, and every structure in them spelt for the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from dgrid_async.apis.generate_content import params, types
from dgrid_async.apis.generate_content.endpoint import ENDPOINT
from dgrid_async.config import CallOptions
from dgrid_async.wire import WireObject, wire_names

CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())
PARAMS = get_type_hints(params.GenerateParams)

# The catalogue's name: where we have a structure of that kind, as a path of fields from the parameters on.
PLACES = {
    "ApiAuth": "tools.retrieval.external_api.api_auth",
    "ApiAuthApiKeyConfig": "tools.retrieval.external_api.api_auth.api_key_config",
    "ApiKeyConfig": "tools.google_maps.auth_config.api_key_config",
    "AudioTranscriptionConfig": "audio_transcription_config",
    "AuthConfig": "tools.google_maps.auth_config",
    "AuthConfigGoogleServiceAccountConfig": "tools.google_maps.auth_config.google_service_account_config",
    "AuthConfigHttpBasicAuthConfig": "tools.google_maps.auth_config.http_basic_auth_config",
    "AuthConfigOauthConfig": "tools.google_maps.auth_config.oauth_config",
    "AuthConfigOidcConfig": "tools.google_maps.auth_config.oidc_config",
    "ComputerUse": "tools.computer_use",
    "DynamicRetrievalConfig": "tools.google_search_retrieval.dynamic_retrieval_config",
    "EnterpriseWebSearch": "tools.enterprise_web_search",
    "ExternalApi": "tools.retrieval.external_api",
    "ExternalApiElasticSearchParams": "tools.retrieval.external_api.elastic_search_params",
    "FileSearch": "tools.file_search",
    "FunctionCallingConfig": "tool_config.function_calling_config",
    "FunctionDeclaration": "tools.function_declarations",
    "GenerationConfigRoutingConfig": "routing_config",
    "GenerationConfigRoutingConfigAutoRoutingMode": "routing_config.auto_mode",
    "GenerationConfigRoutingConfigManualRoutingMode": "routing_config.manual_mode",
    "GenerationOutputConfig": "generation_output_config",
    "GoogleMaps": "tools.google_maps",
    "GoogleMapsGroundingTypes": "tools.google_maps.grounding_types",
    "GoogleSearch": "tools.google_search",
    "GoogleSearchRetrieval": "tools.google_search_retrieval",
    "ImageConfig": "image_config",
    "ImageConfigImageOutputOptions": "image_config.image_output_options",
    "Interval": "tools.google_search.time_range_filter",
    "LanguageHints": "audio_transcription_config.language_hints",
    "LatLng": "tool_config.retrieval_config.lat_lng",
    "McpServer": "tools.mcp_servers",
    "ModelArmorConfig": "model_armor_config",
    "ModelSelectionConfig": "model_selection_config",
    "MultiSpeakerVoiceConfig": "speech_config.multi_speaker_voice_config",
    "PrebuiltVoiceConfig": "speech_config.voice_config.prebuilt_voice_config",
    "RagRetrievalConfig": "tools.retrieval.vertex_rag_store.rag_retrieval_config",
    "RagRetrievalConfigFilter": "tools.retrieval.vertex_rag_store.rag_retrieval_config.filter",
    "RagRetrievalConfigHybridSearch": "tools.retrieval.vertex_rag_store.rag_retrieval_config.hybrid_search",
    "RagRetrievalConfigRanking": "tools.retrieval.vertex_rag_store.rag_retrieval_config.ranking",
    "RagRetrievalConfigRankingLlmRanker": "tools.retrieval.vertex_rag_store.rag_retrieval_config.ranking.llm_ranker",
    "RagRetrievalConfigRankingRankService": ("tools.retrieval.vertex_rag_store.rag_retrieval_config.ranking.rank_service"),
    "ReplicatedVoiceConfig": "speech_config.voice_config.replicated_voice_config",
    "Retrieval": "tools.retrieval",
    "RetrievalConfig": "tool_config.retrieval_config",
    "SafetySetting": "safety_settings",
    "Schema": "response_schema",
    "SearchTypes": "tools.google_search.search_types",
    "SpeakerVoiceConfig": "speech_config.multi_speaker_voice_config.speaker_voice_configs",
    "SpeechConfig": "speech_config",
    "StreamableHttpTransport": "tools.mcp_servers.streamable_http_transport",
    "ThinkingConfig": "thinking_config",
    "Tool": "tools",
    "ToolConfig": "tool_config",
    "ToolExaAiSearch": "tools.exa_ai_search",
    "ToolParallelAiSearch": "tools.parallel_ai_search",
    "VertexAISearch": "tools.retrieval.vertex_ai_search",
    "VertexAISearchDataStoreSpec": "tools.retrieval.vertex_ai_search.data_store_specs",
    "VertexRagStore": "tools.retrieval.vertex_rag_store",
    "VertexRagStoreRagResource": "tools.retrieval.vertex_rag_store.rag_resources",
    "VoiceConfig": "speech_config.voice_config",
    "VoiceConsentSignature": "speech_config.voice_config.replicated_voice_config.voice_consent_signature",
}
# Below a part of the contents, the structures are the classes of `types`, which their own test holds to the catalogue.
IN_CONTENTS = {name for name in CATALOGUE["request_types"] if name in CATALOGUE["response"]}
OTHERWISE = {
    "GenerateContentConfig",  # its fields are CATALOGUE["request"]
    "File",  # a file of Google's own store; a gateway has none
    "FileStatus",
}
LISTS = {"tools", "function_declarations", "safety_settings", "mcp_servers"}
LISTS |= {"speaker_voice_configs", "data_store_specs", "rag_resources"}


def sent(**given: Any) -> dict[str, Any]:
    return ENDPOINT.encode({"model": "m", **given}, False).body


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def test_every_parameter_is_there_and_goes_to_its_place() -> None:
    for name, place in CATALOGUE["request"].items():
        field = name.removeprefix("config.")
        assert field in PARAMS
        if field in {"model", "contents", "system_instruction"}:
            continue
        value: Any = [] if field in LISTS else 1
        for given in (
            {field: value},
            {camel(field): value},
            {"config": {field: value}},
            {"config": {camel(field): value}},
        ):
            found: Any = sent(**given)
            for step in place.split("."):
                assert list(found) == [step]
                found = found[step]
            assert found == value


def test_the_call_takes_options_beside_its_parameters() -> None:
    assert params.GenerateParams.__required_keys__ == set(ENDPOINT.required)
    assert set(CallOptions.__annotations__) <= set(PARAMS)
    assert not set(CallOptions.__annotations__) & {name.removeprefix("config.") for name in CATALOGUE["request"]}


def test_every_structure_of_the_catalogue_is_known() -> None:
    empty = {name for name, fields in CATALOGUE["request_types"].items() if not fields}
    assert set(CATALOGUE["request_types"]) == set(PLACES) | IN_CONTENTS | OTHERWISE | empty


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("spelling", ["snake", "camel"])
def test_structures_are_spelt_for_the_wire(name: str, spelling: str) -> None:
    fields: dict[str, str] = CATALOGUE["request_types"][name]
    value: Any = {field if spelling == "snake" else wire: "x" for field, wire in fields.items()}
    path = PLACES[name].split(".")
    for step in reversed(path):
        value = {step if spelling == "snake" else camel(step): [value] if step in LISTS else value}
    found: Any = sent(**value)
    if "generationConfig" in found:
        found = found["generationConfig"]
    for step in path:
        found = found[
            {"model_selection_config": "modelConfig", "generation_output_config": "outputConfig"}.get(step, camel(step))
        ]
        found = found[0] if step in LISTS else found
    assert found == dict.fromkeys(fields.values(), "x")


def test_a_part_by_hand_knows_every_field_of_the_class() -> None:
    pairs: list[tuple[Any, type[WireObject]]] = [
        (params.PartDict, types.Part),
        (params.ContentDict, types.Content),
        (params.BlobDict, types.Blob),
        (params.FileDataDict, types.FileData),
        (params.FunctionResponseDict, types.FunctionResponse),
    ]
    for by_hand, cls in pairs:
        assert set(get_type_hints(by_hand)) == set(wire_names(cls).values())


@pytest.mark.parametrize("name", ["MediaResolution", "ServiceTier", "ThinkingLevel"])
def test_enumerations_list_every_value_and_stay_open(name: str) -> None:
    literal, rest = get_args(getattr(params, name))
    assert set(get_args(literal)) == set(CATALOGUE["enums"][name])
    assert rest is str
