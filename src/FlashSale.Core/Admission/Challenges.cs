using System.Buffers;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FlashSale.Contracts;

namespace FlashSale.Admission;

/// <summary>A challenge with a right solution. Only admit.lua knows whether it was used before.</summary>
/// <param name="Id">The first 16 bytes of its hash.</param>
/// <param name="ExpiresAt">Redis TIME from which the challenge is expired, Unix milliseconds.</param>
public readonly record struct SolvedChallenge(byte[] Id, long ExpiresAt);

/// <summary>
/// Issues challenges and checks their solutions without storing anything. User, sale, expiry and difficulty stand in
/// the salt:
/// <c>{32 hex}?expires={Unix seconds}&amp;maxnumber={difficulty}&amp;sale={id}&amp;user={16 hex of its hash}&amp;</c>.
/// The salt ends with a delimiter. Without it, digits could move from the number into the last parameter under the same
/// hash (CVE-2025-68113). The user stands there as a hash, so a long user id does not make the work harder. Solutions
/// of both versions of ALTCHA are accepted.
/// </summary>
public sealed class Challenges
{
    /// <summary>Longest solution that is read, in characters of base64.</summary>
    public const int MaxSolution = 2_048;

    private const string Algorithm = "SHA-256";
    private const int RandomHex = 32;
    private const int IdSize = 16;
    private const int MaxSalt = 512;
    private const int MaxDigits = 12;

    private readonly SigningKey _key;
    private readonly int _maxNumber;
    private readonly int _lifetimeSeconds;
    private readonly ChallengeV2 _second;

    /// <summary>Derives the signing keys, and takes difficulty and lifetime from the options.</summary>
    /// <exception cref="Platform.InvalidSettingException">The key is too short.</exception>
    public Challenges(AdmissionOptions options)
    {
        _key = options.KeyFor("challenge");
        _maxNumber = options.ChallengeMaxNumber;
        _lifetimeSeconds = options.ChallengeSeconds;
        _second = new ChallengeV2(options.KeyFor("challenge 2"), options.ChallengeMaxNumber);
    }

    /// <summary>
    /// Makes a challenge, in both versions. The solution of either admits, so a client solves only one of them.
    /// </summary>
    /// <param name="saleId">The sale that its solution admits to.</param>
    /// <param name="userId">The user that its solution admits.</param>
    /// <param name="now">Redis TIME, Unix milliseconds.</param>
    public (ProofOfWork First, ProofOfWorkV2 Second) Issue(string saleId, string userId, long now)
    {
        // Rounded up, because a challenge can say only whole seconds.
        var expires = (now + 999) / 1000 + _lifetimeSeconds;
        return (IssueFirst(saleId, userId, expires), _second.Issue(saleId, userId, expires));
    }

    private ProofOfWork IssueFirst(string saleId, string userId, long expires)
    {
        var random = RandomNumberGenerator.GetHexString(RandomHex, lowercase: true);
        var salt = $"{random}?expires={expires}&maxnumber={_maxNumber}{SubjectOf(saleId, userId)}";
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        Hash(salt, RandomNumberGenerator.GetInt32(_maxNumber + 1), hash);
        Span<byte> signature = stackalloc byte[SigningKey.Size];
        var challenge = Convert.ToHexStringLower(hash);
        _key.Sign(Encoding.ASCII.GetBytes(challenge), signature);
        return new ProofOfWork(Algorithm, challenge, _maxNumber, salt, Convert.ToHexStringLower(signature));
    }

    /// <summary>Checks a solution. Null if anything is wrong with it.</summary>
    /// <param name="solution">
    /// Base64 of the JSON that a widget makes: algorithm, challenge, number, salt and signature in version 1, challenge
    /// and solution in version 2. Other members are ignored.
    /// </param>
    /// <param name="saleId">The sale that the user asks admission to.</param>
    /// <param name="userId">The user that asks.</param>
    /// <param name="now">Redis TIME, Unix milliseconds.</param>
    public SolvedChallenge? Check(string solution, string saleId, string userId, long now)
    {
        if (solution.Length > MaxSolution) return null;
        Span<byte> json = stackalloc byte[MaxSolution];
        if (!Convert.TryFromBase64Chars(solution, json, out var length)) return null;
        return Read(json[..length]) switch
        {
            (Solution first, _) => CheckFirst(first, saleId, userId, now),
            (_, SolutionV2 second) => _second.Check(second, saleId, userId, now),
            _ => null,
        };
    }

    private SolvedChallenge? CheckFirst(Solution said, string saleId, string userId, long now)
    {
        if (!TryReadSalt(said.Salt, saleId, userId, out var expires, out var maxNumber)) return null;
        // A challenge that was issued at a lower difficulty is no longer good enough.
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

    /// <summary>The part of a challenge's text that names its sale and user.</summary>
    internal static string SubjectOf(string saleId, string userId) => $"&sale={Uri.EscapeDataString(saleId)}&user={Fingerprints.OfUser(userId):x16}&";

    private static void Hash(ReadOnlySpan<char> salt, long number, Span<byte> hash)
    {
        Span<byte> text = stackalloc byte[MaxSalt + 20];
        var length = Encoding.ASCII.GetBytes(salt, text);
        Utf8Formatter.TryFormat(number, text[length..], out var digits);
        SHA256.HashData(text[..(length + digits)], hash);
    }

    // Accepts exactly the text that Issue writes, so the check does not depend on a way to parse queries.
    private static bool TryReadSalt(ReadOnlySpan<char> salt, string saleId, string userId, out long expires, out long maxNumber)
    {
        maxNumber = 0;
        salt = salt[RandomHex..];
        return TryTake(ref salt, "?expires=", out expires) && TryTake(ref salt, "&maxnumber=", out maxNumber) && salt.SequenceEqual(SubjectOf(saleId, userId));
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

    // Returns two nulls for text that is not JSON, or if a member is missing or has another type.
    private static (Solution? First, SolutionV2? Second) Read(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, SolutionJson.Default.SolutionHead)?.Challenge.ValueKind switch
            {
                JsonValueKind.Object => (null, JsonSerializer.Deserialize(json, SolutionJson.Default.SolutionV2)),
                JsonValueKind.String when JsonSerializer.Deserialize(json, SolutionJson.Default.Solution) is
                    { Algorithm: Algorithm, Salt.Length: > RandomHex and <= MaxSalt, Challenge: not null, Signature.Length: SigningKey.Size * 2 } first => (first, null),
                _ => default,
            };
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The reader throws InvalidOperationException on text that is not UTF-8 or has half a surrogate pair.
            return default;
        }
    }
}
