using System.Text.Json;
using System.Text.Json.Serialization;

namespace FlashSale.Admission;

/// <summary>
/// The member that both versions of a solution have. Its type tells them apart: a text in version 1, an object in
/// version 2.
/// </summary>
internal sealed record SolutionHead(JsonElement Challenge);

/// <summary>
/// A client's solution of a challenge of version 1. Nothing in it is trusted before the signature is verified.
/// </summary>
internal sealed record Solution(string? Algorithm, string? Challenge, long Number, string? Salt, string? Signature);

/// <summary>
/// A client's solution of a challenge of version 2. Nothing in it is trusted before the signature is verified.
/// </summary>
internal sealed record SolutionV2(ProofOfWorkV2? Challenge, FoundKey? Solution);

/// <summary>The counter that the client found, and its hash in hex.</summary>
internal sealed record FoundKey(long Counter, string? DerivedKey);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, MaxDepth = 4, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(SolutionHead))]
[JsonSerializable(typeof(Solution))]
[JsonSerializable(typeof(SolutionV2))]
internal sealed partial class SolutionJson : JsonSerializerContext;
