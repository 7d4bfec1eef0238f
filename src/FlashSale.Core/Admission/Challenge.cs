using System.Buffers;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FlashSale.Admission;

/// <summary>
/// A proof-of-work challenge as ALTCHA widgets take it (altcha.org, version 1): find the number, from 0 to
/// <paramref name="MaxNumber"/>, for which SHA-256 of salt and number is the challenge.
/// </summary>
/// <param name="Algorithm">Always <c>SHA-256</c>.</param>
/// <param name="Challenge">Hex SHA-256 of the salt and the number in decimal digits.</param>
/// <param name="MaxNumber">Highest number that it can be.</param>
/// <param name="Salt">Random hex, then parameters as of a URL's query, ending with their delimiter.</param>
/// <param name="Signature">Hex HMAC-SHA256 of <paramref name="Challenge"/>.</param>
public sealed record ProofOfWork(string Algorithm, string Challenge, [property: JsonPropertyName("maxnumber")] int MaxNumber, string Salt, string Signature);

/// <summary>An answered challenge; whether it was answered before, admit.lua knows.</summary>
/// <param name="Id">What tells it from others.</param>
/// <param name="ExpiresAt">Redis TIME from which it is worth nothing, Unix milliseconds.</param>
public readonly record struct SolvedChallenge(byte[] Id, long ExpiresAt);

/// <summary>
/// Issues challenges and checks their solutions, keeping nothing: user, sale, expiry and difficulty stand in the salt, as
/// <c>{32 hex}?expires={Unix seconds}&amp;maxnumber={difficulty}&amp;sale={id}&amp;user={id, percent-encoded}&amp;</c>. It ends with a
/// delimiter, without which digits could move from the number into the last parameter under the same hash (CVE-2025-68113).
/// </summary>
public sealed class Challenges
{
    /// <summary>Longest solution that is looked at, in characters of base64.</summary>
    public const int MaxSolution = 2_048;

    private const string Algorithm = "SHA-256";
    private const int RandomHex = 32;
    private const int IdSize = 16;
    private const int MaxSalt = 512;
    private const int MaxDigits = 12;

    private readonly SigningKey _key;
    private readonly int _maxNumber;
    private readonly int _lifetimeSeconds;

    /// <summary>Takes key, difficulty and lifetime.</summary>
    /// <exception cref="Platform.InvalidSettingException">The key is too short.</exception>
    public Challenges(AdmissionOptions options)
    {
        _key = options.KeyFor("challenge");
        _maxNumber = options.ChallengeMaxNumber;
        _lifetimeSeconds = options.ChallengeSeconds;
    }

    /// <summary>Makes a challenge.</summary>
    /// <param name="saleId">Where its solution admits.</param>
    /// <param name="userId">Whom it admits.</param>
    /// <param name="now">Redis TIME, Unix milliseconds.</param>
    public ProofOfWork Issue(string saleId, string userId, long now)
    {
        var random = RandomNumberGenerator.GetHexString(RandomHex, lowercase: true);
        // Rounded up: whole seconds are all that the salt can say.
        var salt = $"{random}?expires={(now + 999) / 1000 + _lifetimeSeconds}&maxnumber={_maxNumber}{TailOf(saleId, userId)}";
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        Hash(salt, RandomNumberGenerator.GetInt32(_maxNumber + 1), hash);
        Span<byte> signature = stackalloc byte[SigningKey.Size];
        var challenge = Convert.ToHexStringLower(hash);
        _key.Sign(Encoding.ASCII.GetBytes(challenge), signature);
        return new ProofOfWork(Algorithm, challenge, _maxNumber, salt, Convert.ToHexStringLower(signature));
    }

    /// <summary>Checks a solution; null when it is none, whatever is wrong with it.</summary>
    /// <param name="solution">Base64 of the JSON that a widget makes: algorithm, challenge, number, salt, signature; other members are ignored.</param>
    /// <param name="saleId">Where admission is asked for.</param>
    /// <param name="userId">Who asks.</param>
    /// <param name="now">Redis TIME, Unix milliseconds.</param>
    public SolvedChallenge? Check(string solution, string saleId, string userId, long now)
    {
        if (solution.Length > MaxSolution) return null;
        Span<byte> json = stackalloc byte[MaxSolution];
        if (!Convert.TryFromBase64Chars(solution, json, out var length)) return null;
        if (Read(json[..length]) is not { } said || !TryReadSalt(said.Salt, saleId, userId, out var expires, out var maxNumber)) return null;
        // A challenge that was issued when less work was asked for is not enough now.
        if (maxNumber < _maxNumber || said.Number < 0 || said.Number > maxNumber || now >= expires * 1000) return null;

        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        Hash(said.Salt, said.Number, hash);
        Span<byte> challenge = stackalloc byte[SHA256.HashSizeInBytes * 2];
        Convert.TryToHexStringLower(hash, challenge, out _);
        Span<byte> signature = stackalloc byte[SigningKey.Size];
        return Ascii.Equals(challenge, said.Challenge) && Convert.FromHexString(said.Signature!, signature, out _, out _) is OperationStatus.Done && _key.IsSignature(challenge, signature)
            ? new SolvedChallenge(hash[..IdSize].ToArray(), expires * 1000)
            : null;
    }

    private static string TailOf(string saleId, string userId) => $"&sale={Uri.EscapeDataString(saleId)}&user={Uri.EscapeDataString(userId)}&";

    private static void Hash(ReadOnlySpan<char> salt, long number, Span<byte> hash)
    {
        Span<byte> text = stackalloc byte[MaxSalt + 20];
        var length = Encoding.ASCII.GetBytes(salt, text);
        Utf8Formatter.TryFormat(number, text[length..], out var digits);
        SHA256.HashData(text[..(length + digits)], hash);
    }

    // Letter by letter what Issue writes: nothing is left to how a query is read.
    private static bool TryReadSalt(ReadOnlySpan<char> salt, string saleId, string userId, out long expires, out long maxNumber)
    {
        maxNumber = 0;
        salt = salt[RandomHex..];
        return TryTake(ref salt, "?expires=", out expires) && TryTake(ref salt, "&maxnumber=", out maxNumber) && salt.SequenceEqual(TailOf(saleId, userId));
    }

    private static bool TryTake(ref ReadOnlySpan<char> salt, ReadOnlySpan<char> name, out long number)
    {
        number = 0;
        if (!salt.StartsWith(name)) return false;
        salt = salt[name.Length..];
        var digits = salt.IndexOfAnyExceptInRange('0', '9');
        if (digits is < 1 or > MaxDigits) return false;
        number = long.Parse(salt[..digits]);
        salt = salt[digits..];
        return true;
    }

    // Null when it is no JSON, or a member is missing or of another type.
    private static Solution? Read(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, SolutionJson.Default.Solution) is { Algorithm: Algorithm, Salt.Length: > RandomHex and <= MaxSalt, Challenge: not null, Signature.Length: SigningKey.Size * 2 } solution
                ? solution
                : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The latter: text that is no UTF-8, or half a surrogate pair.
            return null;
        }
    }
}

/// <summary>What a client says of its solution. Nothing of it is believed before the signature holds.</summary>
internal sealed record Solution(string? Algorithm, string? Challenge, long Number, string? Salt, string? Signature);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, MaxDepth = 4, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(Solution))]
internal sealed partial class SolutionJson : JsonSerializerContext;
