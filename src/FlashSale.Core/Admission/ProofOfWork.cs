using System.Text.Json.Serialization;

namespace FlashSale.Admission;

/// <summary>
/// A proof-of-work challenge as ALTCHA widgets 1 to 3 take it (altcha.org, version 1): find the number, from 0 to
/// <paramref name="MaxNumber"/>, for which SHA-256 of salt and number is the challenge.
/// </summary>
/// <param name="Algorithm">Always <c>SHA-256</c>.</param>
/// <param name="Challenge">Hex SHA-256 of the salt and the number in decimal digits.</param>
/// <param name="MaxNumber">Highest number that it can be.</param>
/// <param name="Salt">Random hex, then parameters as of a URL's query, ending with their delimiter.</param>
/// <param name="Signature">Hex HMAC-SHA256 of <paramref name="Challenge"/>.</param>
public sealed record ProofOfWork(string Algorithm, string Challenge, [property: JsonPropertyName("maxnumber")] int MaxNumber, string Salt, string Signature);
