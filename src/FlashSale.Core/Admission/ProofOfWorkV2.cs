using System.Text.Json.Serialization;

namespace FlashSale.Admission;

/// <summary>
/// A proof-of-work challenge in the form of ALTCHA's version 2, which npm's altcha-lib 2 solves. The client finds the
/// counter, from 0 to the highest number, for which SHA-256 of salt, nonce and counter (32 bits, big-endian) begins
/// with the key prefix.
/// </summary>
/// <param name="Parameters">The work that the client must do.</param>
/// <param name="Signature">Hex HMAC-SHA256 of the parameters, of the sale and of the user.</param>
public sealed record ProofOfWorkV2(ProofParameters Parameters, string Signature);

/// <summary>The work of a challenge of version 2.</summary>
/// <param name="Algorithm">Always <c>SHA-256</c>.</param>
/// <param name="Nonce">16 bytes, hex.</param>
/// <param name="Salt">16 bytes, hex.</param>
/// <param name="Cost">Always 1: each try costs one hash.</param>
/// <param name="KeyLength">Always 32 bytes.</param>
/// <param name="KeyPrefix">The first 16 bytes of the hash that the client looks for, hex.</param>
/// <param name="ExpiresAt">Unix seconds.</param>
/// <param name="Data">The difficulty.</param>
public sealed record ProofParameters(string Algorithm, string Nonce, string Salt, int Cost, int KeyLength, string KeyPrefix, long ExpiresAt, ProofDifficulty Data);

/// <summary>The difficulty of a challenge of version 2.</summary>
/// <param name="MaxNumber">The highest counter that the client must try.</param>
public sealed record ProofDifficulty([property: JsonPropertyName("maxnumber")] long MaxNumber);
