using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>
/// Makes good and bad tickets, challenges and solutions without the product's code, so that independent code judges the
/// product.
/// </summary>
public static class AdmissionForge
{
    private static readonly byte[] Key = Encoding.UTF8.GetBytes(Stack.TicketKey);

    /// <summary>A ticket that expires at a moment of Redis TIME, in milliseconds.</summary>
    public static string Ticket(string saleId, string userId, long epoch, long expiresAt, byte[]? key = null)
    {
        var ticket = new byte[28];
        BinaryPrimitives.WriteInt64BigEndian(ticket.AsSpan(20), epoch);
        BinaryPrimitives.WriteInt64BigEndian(ticket.AsSpan(14), expiresAt);
        RandomNumberGenerator.Fill(ticket.AsSpan(0, 16));
        byte[] signed = [.. Encoding.ASCII.GetBytes($"{saleId}|{userId}|"), .. ticket];
        return Base64Url.EncodeToString([.. ticket, .. HMACSHA256.HashData(KeyOf("ticket", key), signed)]);
    }

    /// <summary>The same ticket with one bit flipped.</summary>
    public static string WithBitFlipped(string ticket, int bit)
    {
        var bytes = Base64Url.DecodeFromChars(ticket);
        bytes[bit / 8] ^= (byte)(1 << bit % 8);
        return Base64Url.EncodeToString(bytes);
    }

    /// <summary>A solved challenge as the product makes it, except for the values that are given.</summary>
    public static JsonObject Solution(string saleId, string userId, long expires, int maxNumber, int number, string? salt = null, byte[]? key = null)
    {
        salt ??= $"{RandomNumberGenerator.GetHexString(32, lowercase: true)}?expires={expires}&maxnumber={maxNumber}&sale={saleId}&user={UserOf(userId)}&";
        var challenge = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(salt + number)));
        return new JsonObject
        {
            ["algorithm"] = "SHA-256", ["challenge"] = challenge, ["number"] = number, ["salt"] = salt,
            ["signature"] = Convert.ToHexStringLower(HMACSHA256.HashData(KeyOf("challenge", key), Encoding.ASCII.GetBytes(challenge))), ["took"] = 12,
        };
    }

    /// <summary>Solves a challenge as a widget does, which knows only the challenge itself.</summary>
    public static JsonObject Solve(JsonElement challenge)
    {
        var (salt, wanted) = (challenge.GetProperty("salt").GetString()!, challenge.GetProperty("challenge").GetString()!);
        Assert.Equal("SHA-256", challenge.GetProperty("algorithm").GetString());
        for (var number = 0; number <= challenge.GetProperty("maxnumber").GetInt32(); number++)
        {
            if (Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(salt + number))) != wanted) continue;
            return new JsonObject
            {
                ["algorithm"] = "SHA-256", ["challenge"] = wanted, ["number"] = number, ["salt"] = salt, ["signature"] = challenge.GetProperty("signature").GetString(), ["took"] = 12,
            };
        }
        throw new InvalidOperationException($"No number up to its maxnumber solves {challenge}");
    }

    /// <summary>Solves a challenge of version 2 as altcha-lib 2 does.</summary>
    public static JsonObject SolveV2(JsonElement challenge)
    {
        var work = challenge.GetProperty("parameters");
        byte[] text = [.. Convert.FromHexString(work.GetProperty("salt").GetString()!), .. Convert.FromHexString(work.GetProperty("nonce").GetString()!), 0, 0, 0, 0];
        for (var counter = 0; counter < 1_000_000; counter++)
        {
            BinaryPrimitives.WriteInt32BigEndian(text.AsSpan(32), counter);
            var key = Convert.ToHexStringLower(SHA256.HashData(text));
            if (!key.StartsWith(work.GetProperty("keyPrefix").GetString()!, StringComparison.Ordinal)) continue;
            return new JsonObject
            {
                ["challenge"] = JsonNode.Parse(challenge.GetRawText()), ["solution"] = new JsonObject { ["counter"] = counter, ["derivedKey"] = key, ["time"] = 12.5 },
            };
        }
        throw new InvalidOperationException($"No counter solves {challenge}");
    }

    /// <summary>A user as challenges of version 1 name it.</summary>
    public static string UserOf(string userId) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(userId)))[..16];

    /// <summary>The body of a request for admission with a solution.</summary>
    public static string Body(JsonNode solution) => $$"""{"solution":"{{Convert.ToBase64String(Encoding.UTF8.GetBytes(solution.ToJsonString()))}}"}""";

    private static byte[] KeyOf(string purpose, byte[]? key) => HKDF.DeriveKey(HashAlgorithmName.SHA256, key ?? Key, 32, info: Encoding.ASCII.GetBytes(purpose));
}
