using System.Text.Json.Serialization;

namespace FlashSale.Admission;

/// <summary>
/// A proof-of-work challenge in the form of ALTCHA widgets 1 to 3 (altcha.org, version 1). The client finds the number,
/// from 0 to <paramref name="MaxNumber"/>, for which SHA-256 of salt and number is the challenge.
/// </summary>
/// <param name="Algorithm">Always <c>SHA-256</c>.</param>
/// <param name="Challenge">Hex SHA-256 of the salt and the number in decimal digits.</param>
/// <param name="MaxNumber">The highest number that the client must try.</param>
/// <param name="Salt">Random hex, then parameters in the form of a URL's query, with a delimiter at the end.</param>
/// <param name="Signature">Hex HMAC-SHA256 of <paramref name="Challenge"/>.</param>
public sealed record ProofOfWork(string Algorithm, string Challenge, [property: JsonPropertyName("maxnumber")] int MaxNumber, string Salt, string Signature);
