using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace FlashSale.Admission;

/// <summary>
/// The member names of one JSON object. They serve to refuse an object that has one name twice, even if one of the
/// spellings is escaped.
/// </summary>
internal ref struct JwtMemberNames
{
    // The shortest member is `"":0,`. At least half of the slots stay empty.
    private const int ShortestMember = 5;

    private readonly Span<ushort> slots;
    private readonly Span<byte> text;
    private int used;

    /// <summary>Prepares for an object of <paramref name="jsonLength"/> bytes of JSON.</summary>
    /// <param name="room">Working space of <see cref="RoomFor"/> bytes.</param>
    /// <param name="jsonLength">At most 65,535 bytes.</param>
    public JwtMemberNames(Span<byte> room, int jsonLength)
    {
        var count = SlotsFor(jsonLength);
        slots = MemoryMarshal.Cast<byte, ushort>(room)[..count];
        slots.Clear();
        text = room[(count * sizeof(ushort))..];
    }

    /// <summary>Bytes of working space for an object of <paramref name="jsonLength"/> bytes of JSON.</summary>
    public static int RoomFor(int jsonLength) => (SlotsFor(jsonLength) * sizeof(ushort)) + jsonLength;

    /// <summary>
    /// Adds the name at the position of <paramref name="reader"/>. False if the object had that name before.
    /// </summary>
    public bool TryAdd(ref Utf8JsonReader reader)
    {
        // Each name stands in the text after its length. A slot holds the position of a name, counted from 1. The two
        // quotes of a name in the JSON make room for the two bytes of its length.
        var length = reader.CopyString(text[(used + sizeof(ushort))..]);
        BinaryPrimitives.WriteUInt16LittleEndian(text[used..], (ushort)length);
        var name = NameAt(used);
        // The hash is seeded per process, so an attacker cannot choose names that fall into one slot.
        var hash = default(HashCode);
        hash.AddBytes(name);
        for (var i = hash.ToHashCode() & (slots.Length - 1); ; i = (i + 1) & (slots.Length - 1))
        {
            if (slots[i] == 0)
            {
                slots[i] = (ushort)(used + 1);
                used += sizeof(ushort) + length;
                return true;
            }

            if (NameAt(slots[i] - 1).SequenceEqual(name)) return false;
        }
    }

    private static int SlotsFor(int jsonLength) => (int)BitOperations.RoundUpToPowerOf2((uint)((jsonLength / ShortestMember) + 1) * 2);

    private readonly ReadOnlySpan<byte> NameAt(int position) =>
        text.Slice(position + sizeof(ushort), BinaryPrimitives.ReadUInt16LittleEndian(text[position..]));
}

/// <summary>
/// The members of a token's header that the verifier uses. <see cref="Key"/> is set if <c>kid</c> names a configured
/// key.
/// </summary>
[StructLayout(LayoutKind.Auto)]
internal struct JwtHeader
{
    public JwtAlgorithm? Algorithm;
    public bool HasKid;
    public JwtKey? Key;

    /// <summary>
    /// Reads the header. False if RFC 7515 does not allow it, or if it asks for an extension. Throws
    /// <see cref="JsonException"/> on broken JSON.
    /// </summary>
    /// <param name="json">The header.</param>
    /// <param name="room">Working space, see <see cref="JwtMemberNames"/>.</param>
    /// <param name="keys">The keys in force.</param>
    /// <param name="header">The header's members.</param>
    public static bool TryRead(ReadOnlySpan<byte> json, Span<byte> room, JwtKey[] keys, out JwtHeader header)
    {
        header = default;
        var reader = new Utf8JsonReader(json);
        var names = new JwtMemberNames(room, json.Length);
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
            // This code implements no extension, so a header that demands one is refused.
            return false;
        }

        reader.Skip();
        return true;
    }

    /// <summary>Null for every other algorithm, including all spellings of `none`.</summary>
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
