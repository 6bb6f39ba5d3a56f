"""What a call of generateContent takes, as types: the parameters, and what people write by hand inside them.

Names are snake_case; the wire's camelCase is taken as well, at any depth. Each structure is written once, here or as a
class of `types`, and `endpoint` reads the spelling on the wire off these very definitions: what is not a structure here
(the arguments of a call, a JSON schema's own words, labels, metadata) goes out as it was given.

A `TypedDict` can be called like a class: `Tool(google_search=GoogleSearch())`.

Source: https://ai.google.dev/api/generate-content and https://ai.google.dev/api/caching#Tool
"""

# Without `annotations` from `__future__`: a TypedDict would compile the text of each of its fields.

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

from dgrid_async.apis.generate_content.types import (
    AudioMetadata,
    Blob,
    CodeExecutionResult,
    Content,
    DocumentMetadata,
    ExecutableCode,
    FileData,
    FunctionCall,
    FunctionResponse,
    HarmBlockThreshold,
    HarmCategory,
    MediaProcessing,
    Part,
    PartMediaResolution,
    SpeechMetadata,
    SpreadsheetMetadata,
    ToolCall,
    ToolResponse,
    Transcription,
    VideoMetadata,
)
from dgrid_async.config import CallOptions

__all__ = [
    "ApiAuth",
    "ApiKeyConfig",
    "AudioTranscriptionConfig",
    "AuthConfig",
    "BlobDict",
    "ComputerUse",
    "ContentDict",
    "Contents",
    "DynamicRetrievalConfig",
    "EnterpriseWebSearch",
    "ExternalApi",
    "FileDataDict",
    "FileSearch",
    "FunctionCallDict",
    "FunctionCallingConfig",
    "FunctionDeclaration",
    "FunctionResponseDict",
    "GenerateContentConfig",
    "GenerateParams",
    "GenerationConfig",
    "GenerationOutputConfig",
    "GoogleMaps",
    "GoogleSearch",
    "GoogleSearchRetrieval",
    "ImageConfig",
    "ImageOutputOptions",
    "Interval",
    "LanguageHints",
    "LatLng",
    "McpServer",
    "MediaResolution",
    "ModelArmorConfig",
    "ModelSelectionConfig",
    "MultiSpeakerVoiceConfig",
    "PartDict",
    "PrebuiltVoiceConfig",
    "RagRetrievalConfig",
    "ReplicatedVoiceConfig",
    "Retrieval",
    "RetrievalConfig",
    "RoutingConfig",
    "SafetySetting",
    "Schema",
    "ServiceTier",
    "SpeakerVoiceConfig",
    "SpeechConfig",
    "StreamableHttpTransport",
    "ThinkingConfig",
    "ThinkingLevel",
    "Tool",
    "ToolConfig",
    "VertexAISearch",
    "VertexRagStore",
    "VoiceConfig",
]

AnyDict = Mapping[str, Any]
"""The same in camelCase, or with fields that are not known here."""

# ------------------------------------------------------------------------------------------------------------- contents


class BlobDict(TypedDict, total=False):
    """Bytes within the request; `data` is bytes or their base64."""

    data: bytes | str
    mime_type: str
    display_name: str


class FileDataDict(TypedDict, total=False):
    """A file by its address."""

    file_uri: str
    mime_type: str
    display_name: str


class FunctionCallDict(TypedDict, total=False):
    """A function that the model wanted called."""

    name: str
    args: Mapping[str, Any]
    id: str


class FunctionResponseDict(TypedDict, total=False):
    """What a function answered: `response` is a JSON object, by custom {"output": …} or {"error": …}."""

    name: str
    response: Mapping[str, Any]
    id: str
    parts: Sequence[Mapping[str, Any]]
    scheduling: str
    will_continue: bool


class PartDict(TypedDict, total=False):
    """One piece of a message; `Part` is the same as a class."""

    text: str
    thought: bool
    thought_signature: bytes | str
    inline_data: Blob | BlobDict | AnyDict
    file_data: FileData | FileDataDict | AnyDict
    function_call: FunctionCall | FunctionCallDict | AnyDict
    function_response: FunctionResponse | FunctionResponseDict | AnyDict
    executable_code: ExecutableCode | AnyDict
    code_execution_result: CodeExecutionResult | AnyDict
    tool_call: ToolCall | AnyDict
    tool_response: ToolResponse | AnyDict
    audio_transcription: Transcription | AnyDict
    media_resolution: PartMediaResolution | AnyDict
    media_processing: MediaProcessing
    video_metadata: VideoMetadata | AnyDict
    audio_metadata: AudioMetadata | AnyDict
    document_metadata: DocumentMetadata | AnyDict
    spreadsheet_metadata: SpreadsheetMetadata | AnyDict
    speech_metadata: SpeechMetadata | AnyDict
    part_metadata: Mapping[str, Any]


class ContentDict(TypedDict, total=False):
    """One message; `role` is "user" or "model"."""

    parts: Sequence[Part | PartDict | AnyDict]
    role: str


ContentItem = str | Part | PartDict | Content | ContentDict | AnyDict
Contents = ContentItem | Sequence[ContentItem | Sequence[str | Part | PartDict | AnyDict]]
"""A text, a part, a message, or a list of them; neighbouring texts and parts make one message of the user's."""

# ------------------------------------------------------------------------------------------------ how an answer is made

MediaResolution = (
    Literal["MEDIA_RESOLUTION_UNSPECIFIED", "MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM", "MEDIA_RESOLUTION_HIGH"] | str
)
ServiceTier = Literal["unspecified", "flex", "standard", "priority"] | str
ThinkingLevel = Literal["THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"] | str


class Schema(TypedDict, total=False):
    """What a value may be, in the words of OpenAPI 3.0; a plain JSON schema goes in `response_json_schema` instead."""

    type: Literal["TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"] | str
    title: str
    description: str
    format: str
    nullable: bool
    default: Any
    example: Any
    enum: Sequence[str]
    properties: Mapping[str, "Schema | AnyDict"]
    required: Sequence[str]
    property_ordering: Sequence[str]
    additional_properties: "bool | Schema | AnyDict"
    min_properties: int
    max_properties: int
    items: "Schema | AnyDict"
    min_items: int
    max_items: int
    min_length: int
    max_length: int
    pattern: str
    minimum: float
    maximum: float
    any_of: Sequence["Schema | AnyDict"]
    defs: Mapping[str, "Schema | AnyDict"]
    ref: str


class ThinkingConfig(TypedDict, total=False):
    """How much the model thinks, and whether its reasoning is shown.

    `thinking_budget` is in tokens: 0 is none, -1 leaves it to the model.
    """

    include_thoughts: bool
    thinking_budget: int
    thinking_level: ThinkingLevel


class PrebuiltVoiceConfig(TypedDict, total=False):
    """A voice that comes with the model, by name."""

    voice_name: str


class VoiceConsentSignature(TypedDict, total=False):
    """The proof that a voice's owner agreed to its use."""

    signature: str


class ReplicatedVoiceConfig(TypedDict, total=False):
    """A voice after a recording of it."""

    mime_type: str
    voice_sample_audio: bytes | str
    consent_audio: bytes | str
    voice_consent_signature: VoiceConsentSignature | AnyDict


class VoiceConfig(TypedDict, total=False):
    """Whose voice speaks."""

    prebuilt_voice_config: PrebuiltVoiceConfig | AnyDict
    replicated_voice_config: ReplicatedVoiceConfig | AnyDict
    voice: str


class SpeakerVoiceConfig(TypedDict, total=False):
    """The voice of one speaker, who goes by a name in the prompt."""

    speaker: str
    voice_config: VoiceConfig | AnyDict


class MultiSpeakerVoiceConfig(TypedDict, total=False):
    """The voices of several speakers."""

    speaker_voice_configs: Sequence[SpeakerVoiceConfig | AnyDict]


class SpeechConfig(TypedDict, total=False):
    """How an answer is spoken."""

    voice_config: VoiceConfig | AnyDict
    multi_speaker_voice_config: MultiSpeakerVoiceConfig | AnyDict
    language_code: str


class ImageOutputOptions(TypedDict, total=False):
    """How a generated image is stored."""

    mime_type: str
    compression_quality: int


class ImageConfig(TypedDict, total=False):
    """What a generated image is like; `aspect_ratio` such as "16:9", `image_size` such as "2K"."""

    aspect_ratio: str
    image_size: str
    person_generation: str
    prominent_people: Literal["PROMINENT_PEOPLE_UNSPECIFIED", "ALLOW_PROMINENT_PEOPLE", "BLOCK_PROMINENT_PEOPLE"] | str
    output_mime_type: str
    output_compression_quality: int
    image_output_options: ImageOutputOptions | AnyDict


class LanguageHints(TypedDict, total=False):
    """The languages that a recording is likely to be in."""

    language_codes: Sequence[str]


class AudioTranscriptionConfig(TypedDict, total=False):
    """How speech is written down."""

    language_codes: Sequence[str]
    language_auto: Mapping[str, Any]
    language_hints: LanguageHints | AnyDict
    custom_vocabulary: Sequence[str]
    adaptation_phrases: Sequence[str]
    word_timestamp: bool
    diarization: bool
    mode: Literal["MODE_UNSPECIFIED", "VERBATIM", "SMART"] | str
    source_text: str


class ModelSelectionConfig(TypedDict, total=False):
    """What counts when the server picks the model."""

    feature_selection_preference: str


class AutoRoutingMode(TypedDict, total=False):
    """The server picks a model by this preference."""

    model_routing_preference: Literal["UNKNOWN", "PRIORITIZE_QUALITY", "BALANCED", "PRIORITIZE_COST"] | str


class ManualRoutingMode(TypedDict, total=False):
    """The caller picks the model."""

    model_name: str


class RoutingConfig(TypedDict, total=False):
    """Which model answers, of those behind a router."""

    auto_mode: AutoRoutingMode | AnyDict
    manual_mode: ManualRoutingMode | AnyDict


class GenerationConfig(TypedDict, total=False):
    """How the answer is made; each of these may also be given straight to the call, or in `config`."""

    temperature: float
    top_p: float
    top_k: float
    candidate_count: int
    max_output_tokens: int
    stop_sequences: Sequence[str]
    seed: int
    presence_penalty: float
    frequency_penalty: float
    response_logprobs: bool
    logprobs: int
    response_mime_type: str
    response_schema: Schema | AnyDict
    response_json_schema: Any
    response_modalities: Sequence[str]
    thinking_config: ThinkingConfig | AnyDict
    media_resolution: MediaResolution
    speech_config: str | SpeechConfig | AnyDict
    image_config: ImageConfig | AnyDict
    audio_timestamp: bool
    audio_transcription_config: AudioTranscriptionConfig | AnyDict
    enable_enhanced_civic_answers: bool
    routing_config: RoutingConfig | AnyDict
    model_selection_config: ModelSelectionConfig | AnyDict


# ---------------------------------------------------------------------------------------------------------------- tools


class FunctionDeclaration(TypedDict, total=False):
    """A function that the model may call; its parameters as a `Schema` or as a plain JSON schema."""

    name: str
    description: str
    parameters: Schema | AnyDict
    parameters_json_schema: Any
    response: Schema | AnyDict
    response_json_schema: Any
    behavior: Literal["UNSPECIFIED", "BLOCKING", "NON_BLOCKING"] | str


class ApiKeyConfig(TypedDict, total=False):
    """An API key of another service, and where it goes."""

    name: str
    api_key_string: str
    api_key_secret: str
    http_element_location: str


class GoogleServiceAccountConfig(TypedDict, total=False):
    """A Google service account."""

    service_account: str


class HttpBasicAuthConfig(TypedDict, total=False):
    """A user and password, kept as a secret."""

    credential_secret: str


class OauthConfig(TypedDict, total=False):
    """An OAuth access token, or the account that gets one."""

    access_token: str
    service_account: str


class OidcConfig(TypedDict, total=False):
    """An OpenID Connect token, or the account that gets one."""

    id_token: str
    service_account: str


class AuthConfig(TypedDict, total=False):
    """How the server proves itself to another service."""

    auth_type: str
    api_key: str
    api_key_config: ApiKeyConfig | AnyDict
    google_service_account_config: GoogleServiceAccountConfig | AnyDict
    http_basic_auth_config: HttpBasicAuthConfig | AnyDict
    oauth_config: OauthConfig | AnyDict
    oidc_config: OidcConfig | AnyDict


class Interval(TypedDict, total=False):
    """A stretch of time, its ends in RFC 3339."""

    start_time: str
    end_time: str


class SearchTypes(TypedDict, total=False):
    """What is searched for; an empty dict turns a kind on."""

    web_search: Mapping[str, Any]
    image_search: Mapping[str, Any]


class GoogleSearch(TypedDict, total=False):
    """The server searches the web; an empty dict is enough."""

    search_types: SearchTypes | AnyDict
    time_range_filter: Interval | AnyDict
    exclude_domains: Sequence[str]
    blocking_confidence: str


class EnterpriseWebSearch(TypedDict, total=False):
    """The server searches the web under stricter rules."""

    exclude_domains: Sequence[str]
    blocking_confidence: str


class DynamicRetrievalConfig(TypedDict, total=False):
    """When a search is worth while: `dynamic_threshold` is 0 (always) to 1."""

    mode: Literal["MODE_UNSPECIFIED", "MODE_DYNAMIC"] | str
    dynamic_threshold: float


class GoogleSearchRetrieval(TypedDict, total=False):
    """The older models' search of the web."""

    dynamic_retrieval_config: DynamicRetrievalConfig | AnyDict


class GoogleMapsGroundingTypes(TypedDict, total=False):
    """What is looked up; an empty dict turns a kind on."""

    places: Mapping[str, Any]
    routing: Mapping[str, Any]


class GoogleMaps(TypedDict, total=False):
    """The server looks up places."""

    auth_config: AuthConfig | AnyDict
    enable_widget: bool
    grounding_types: GoogleMapsGroundingTypes | AnyDict


class FileSearch(TypedDict, total=False):
    """The server searches the caller's stored files."""

    file_search_store_names: Sequence[str]
    top_k: int
    metadata_filter: str


class ComputerUse(TypedDict, total=False):
    """The model may work a computer."""

    environment: str
    excluded_predefined_functions: Sequence[str]
    enable_prompt_injection_detection: bool
    disabled_safety_policies: Sequence[str]


class StreamableHttpTransport(TypedDict, total=False):
    """How an MCP server is reached; times are seconds with an `s` behind."""

    url: str
    headers: Mapping[str, str]
    timeout: str
    sse_read_timeout: str
    terminate_on_close: bool


class McpServer(TypedDict, total=False):
    """An MCP server whose tools the model may use."""

    name: str
    streamable_http_transport: StreamableHttpTransport | AnyDict


class ToolExaAiSearch(TypedDict, total=False):
    """A search by Exa; `custom_configs` goes to it as it is."""

    api_key: str
    custom_configs: Mapping[str, Any]


class ToolParallelAiSearch(TypedDict, total=False):
    """A search by Parallel; `custom_configs` goes to it as it is."""

    api_key: str
    custom_configs: Mapping[str, Any]
    enable_data_retention: bool
    enable_zero_data_retention: bool


class ApiKeyAuth(TypedDict, total=False):
    """A key, or where the secret that holds it is kept."""

    api_key_secret_version: str
    api_key_string: str


class ApiAuth(TypedDict, total=False):
    """How an outside search API knows the caller."""

    api_key_config: ApiKeyAuth | AnyDict


class ElasticSearchParams(TypedDict, total=False):
    """What is asked of Elasticsearch."""

    index: str
    num_hits: int
    search_template: str


class ExternalApi(TypedDict, total=False):
    """An outside API that documents are retrieved from."""

    endpoint: str
    api_spec: Literal["API_SPEC_UNSPECIFIED", "SIMPLE_SEARCH", "ELASTIC_SEARCH"] | str
    api_auth: ApiAuth | AnyDict
    auth_config: AuthConfig | AnyDict
    elastic_search_params: ElasticSearchParams | AnyDict
    simple_search_params: Mapping[str, Any]


class VertexAISearchDataStoreSpec(TypedDict, total=False):
    """One data store of a search, and what of it counts."""

    data_store: str
    filter: str


class VertexAISearch(TypedDict, total=False):
    """A Vertex AI Search data store or engine that documents are retrieved from."""

    datastore: str
    engine: str
    filter: str
    max_results: int
    data_store_specs: Sequence[VertexAISearchDataStoreSpec | AnyDict]


class RagFilter(TypedDict, total=False):
    """What of the documents found counts."""

    metadata_filter: str
    vector_distance_threshold: float
    vector_similarity_threshold: float


class RagHybridSearch(TypedDict, total=False):
    """How meaning and words are weighed: `alpha` is 0 (words alone) to 1 (meaning alone)."""

    alpha: float


class RagRanker(TypedDict, total=False):
    """A model that puts the documents found in order."""

    model_name: str


class RagRanking(TypedDict, total=False):
    """How the documents found are put in order."""

    llm_ranker: RagRanker | AnyDict
    rank_service: RagRanker | AnyDict


class RagRetrievalConfig(TypedDict, total=False):
    """How documents are found."""

    top_k: int
    filter: RagFilter | AnyDict
    hybrid_search: RagHybridSearch | AnyDict
    ranking: RagRanking | AnyDict


class VertexRagStoreRagResource(TypedDict, total=False):
    """A corpus, or some files of one."""

    rag_corpus: str
    rag_file_ids: Sequence[str]


class VertexRagStore(TypedDict, total=False):
    """A Vertex RAG store that documents are retrieved from."""

    rag_corpora: Sequence[str]
    rag_resources: Sequence[VertexRagStoreRagResource | AnyDict]
    rag_retrieval_config: RagRetrievalConfig | AnyDict
    similarity_top_k: int
    vector_distance_threshold: float
    store_context: bool


class Retrieval(TypedDict, total=False):
    """The server retrieves documents of the caller's."""

    external_api: ExternalApi | AnyDict
    vertex_ai_search: VertexAISearch | AnyDict
    vertex_rag_store: VertexRagStore | AnyDict
    disable_attribution: bool


class Tool(TypedDict, total=False):
    """What the model may use: the caller's functions, or tools that the server runs.

    A tool without settings is turned on by an empty dict: {"google_search": {}}, {"code_execution": {}},
    {"url_context": {}}.
    """

    function_declarations: Sequence[FunctionDeclaration | AnyDict]
    google_search: GoogleSearch | AnyDict
    google_search_retrieval: GoogleSearchRetrieval | AnyDict
    enterprise_web_search: EnterpriseWebSearch | AnyDict
    google_maps: GoogleMaps | AnyDict
    url_context: Mapping[str, Any]
    code_execution: Mapping[str, Any]
    computer_use: ComputerUse | AnyDict
    file_search: FileSearch | AnyDict
    retrieval: Retrieval | AnyDict
    mcp_servers: Sequence[McpServer | AnyDict]
    exa_ai_search: ToolExaAiSearch | AnyDict
    parallel_ai_search: ToolParallelAiSearch | AnyDict


class FunctionCallingConfig(TypedDict, total=False):
    """Whether the model must, may or must not call a function, and which."""

    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] | str
    allowed_function_names: Sequence[str]
    stream_function_call_arguments: bool


class LatLng(TypedDict, total=False):
    """A place on the globe, in degrees."""

    latitude: float
    longitude: float


class RetrievalConfig(TypedDict, total=False):
    """Where the user is and what they read, for tools that look things up."""

    lat_lng: LatLng | AnyDict
    language_code: str


class ToolConfig(TypedDict, total=False):
    """How the tools are used."""

    function_calling_config: FunctionCallingConfig | AnyDict
    retrieval_config: RetrievalConfig | AnyDict
    include_server_side_tool_invocations: bool


class SafetySetting(TypedDict, total=False):
    """What is blocked in one category of harm."""

    category: HarmCategory
    threshold: HarmBlockThreshold
    method: Literal["HARM_BLOCK_METHOD_UNSPECIFIED", "SEVERITY", "PROBABILITY"] | str


class ModelArmorConfig(TypedDict, total=False):
    """Templates by which Model Armor looks at prompts and answers."""

    prompt_template_name: str
    response_template_name: str


class GenerationOutputConfig(TypedDict, total=False):
    """Where what was made is put."""

    output_uri_prefix: str


# ------------------------------------------------------------------------------------------------------------- the call


class GenerateContentConfig(GenerationConfig, total=False):
    """Everything but the model and the contents in one dict, as Google's SDK takes it: the `config` of a call."""

    system_instruction: Contents
    tools: Sequence[Tool | AnyDict]
    tool_config: ToolConfig | AnyDict
    safety_settings: Sequence[SafetySetting | AnyDict]
    cached_content: str
    labels: Mapping[str, str]
    service_tier: ServiceTier
    store: bool
    continuation_token: bytes | str
    model_armor_config: ModelArmorConfig | AnyDict
    generation_output_config: GenerationOutputConfig | AnyDict


class GenerateParams(GenerateContentConfig, CallOptions, total=False):
    """The parameters of `models.generate_content` and `models.stream_generate_content`.

    Whatever is given twice counts as given to the call itself, else as in `config`, else as in `generation_config`.

    `model` is the id as the gateway lists it. `contents` is the conversation; a text is one message of the user's.
    """

    model: Required[str]
    contents: Contents
    config: GenerateContentConfig | AnyDict
    generation_config: GenerationConfig | AnyDict
