using System.Text.Json;
using System.Text.Json.Serialization;

namespace FlashSale.Admission;

/// <summary>What both versions of a solution have, by which they are told apart: a text in version 1, an object in version 2.</summary>
internal sealed record SolutionHead(JsonElement Challenge);

/// <summary>A client's solution of a challenge of version 1. Nothing of it is believed before the signature holds.</summary>
internal sealed record Solution(string? Algorithm, string? Challenge, long Number, string? Salt, string? Signature);

/// <summary>The same of version 2.</summary>
internal sealed record SolutionV2(ProofOfWorkV2? Challenge, FoundKey? Solution);

/// <summary>The counter that was found, and its hash in hex.</summary>
internal sealed record FoundKey(long Counter, string? DerivedKey);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, MaxDepth = 4, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(SolutionHead))]
[JsonSerializable(typeof(Solution))]
[JsonSerializable(typeof(SolutionV2))]
internal sealed partial class SolutionJson : JsonSerializerContext;
