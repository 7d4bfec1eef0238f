using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace FlashSale.Admission;

/// <summary>Names of the members of one JSON object, to refuse an object that says the same thing twice (also when one spelling is escaped).</summary>
[StructLayout(LayoutKind.Auto)]
internal struct JwtMemberNames
{
    /// <summary>Most members an object may have, and most bytes all their names together.</summary>
    private const int MaxMembers = 48, MaxBytes = 768;

    private NameBytes text;
    private NameEnds ends;
    private int count;

    /// <summary>False if the name that <paramref name="reader"/> is at was there before, or if there are too many.</summary>
    public bool TryAdd(ref Utf8JsonReader reader)
    {
        Span<byte> all = text;
        var start = count == 0 ? 0 : ends[count - 1];
        if (count == MaxMembers || reader.ValueSpan.Length > MaxBytes - start)
        {
            return false;
        }

        var name = all.Slice(start, reader.CopyString(all[start..]));
        for (int i = 0, from = 0; i < count; from = ends[i++])
        {
            if (all[from..ends[i]].SequenceEqual(name))
            {
                return false;
            }
        }

        ends[count++] = start + name.Length;
        return true;
    }

    [InlineArray(MaxBytes)]
    private struct NameBytes
    {
        private byte first;
    }

    [InlineArray(MaxMembers)]
    private struct NameEnds
    {
        private int first;
    }
}

/// <summary>What a token's header says, as far as it matters; <see cref="Key"/> is set if its <c>kid</c> names a configured key.</summary>
[StructLayout(LayoutKind.Auto)]
internal struct JwtHeader
{
    public JwtAlgorithm? Algorithm;
    public bool HasKid;
    public JwtKey? Key;

    /// <summary>False if the header is not what RFC 7515 allows or asks for something that is not understood. Throws <see cref="JsonException"/> on broken JSON.</summary>
    public static bool TryRead(ReadOnlySpan<byte> json, JwtKey[] keys, out JwtHeader header)
    {
        header = default;
        var reader = new Utf8JsonReader(json);
        var names = default(JwtMemberNames);
        var hasAlgorithm = false;
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            return false;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (!names.TryAdd(ref reader) || !header.TryReadMember(ref reader, keys, ref hasAlgorithm))
            {
                return false;
            }
        }

        return hasAlgorithm && !reader.Read();
    }

    private bool TryReadMember(ref Utf8JsonReader reader, JwtKey[] keys, ref bool hasAlgorithm)
    {
        if (reader.ValueTextEquals("alg"u8))
        {
            reader.Read();
            hasAlgorithm = reader.TokenType == JsonTokenType.String;
            Algorithm = hasAlgorithm ? ReadAlgorithm(ref reader) : null;
            return hasAlgorithm;
        }

        if (reader.ValueTextEquals("kid"u8))
        {
            reader.Read();
            HasKid = reader.TokenType == JsonTokenType.String;
            Key = HasKid ? FindKey(ref reader, keys) : null;
            return HasKid;
        }

        if (reader.ValueTextEquals("crit"u8))
        {
            // No extension is understood here, so none can be honoured.
            return false;
        }

        reader.Skip();
        return true;
    }

    /// <summary>Null for whatever is not on the list, `none` in every spelling included.</summary>
    private static JwtAlgorithm? ReadAlgorithm(ref Utf8JsonReader reader) =>
        reader.ValueTextEquals("HS256"u8) ? JwtAlgorithm.HS256
        : reader.ValueTextEquals("RS256"u8) ? JwtAlgorithm.RS256
        : reader.ValueTextEquals("ES256"u8) ? JwtAlgorithm.ES256
        : null;

    private static JwtKey? FindKey(ref Utf8JsonReader reader, JwtKey[] keys)
    {
        foreach (var key in keys)
        {
            if (reader.ValueTextEquals(key.KidUtf8))
            {
                return key;
            }
        }

        return null;
    }
}
