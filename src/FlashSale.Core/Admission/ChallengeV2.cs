using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace FlashSale.Admission;

/// <summary>Makes challenges of ALTCHA's version 2 and checks their solutions. See <see cref="Challenges"/>.</summary>
internal sealed class ChallengeV2(SigningKey key, int maxNumber)
{
    private const string Algorithm = "SHA-256";
    private const int HalfSize = 16;
    private const int HalfHex = HalfSize * 2;

    public ProofOfWorkV2 Issue(string saleId, string userId, long expires)
    {
        Span<byte> seed = stackalloc byte[HalfSize * 2];
        RandomNumberGenerator.Fill(seed);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        Derive(seed, (uint)RandomNumberGenerator.GetInt32(maxNumber + 1), hash);
        var work = new ProofParameters(Algorithm, Convert.ToHexStringLower(seed[HalfSize..]), Convert.ToHexStringLower(seed[..HalfSize]),
            Cost: 1, SHA256.HashSizeInBytes, Convert.ToHexStringLower(hash[..HalfSize]), expires, new ProofDifficulty(maxNumber));
        Span<byte> signature = stackalloc byte[SigningKey.Size];
        key.Sign(Signed(work, saleId, userId), signature);
        return new ProofOfWorkV2(work, Convert.ToHexStringLower(signature));
    }

    public SolvedChallenge? Check(SolutionV2 said, string saleId, string userId, long now)
    {
        if (said is not { Challenge: { Parameters: { Data: { } difficulty } work, Signature: { Length: SigningKey.Size * 2 } signed }, Solution: { DerivedKey: { } found } solution }
            || work is not { Algorithm: Algorithm, Cost: 1, KeyLength: SHA256.HashSizeInBytes, Nonce.Length: HalfHex, Salt.Length: HalfHex, KeyPrefix.Length: HalfHex }
            || solution.Counter is < 0 or > uint.MaxValue) return null;
        // A challenge that was issued at a lower difficulty is no longer good enough.
        if (difficulty.MaxNumber < maxNumber || solution.Counter > difficulty.MaxNumber || now / 1000 >= work.ExpiresAt) return null;

        Span<byte> signature = stackalloc byte[SigningKey.Size];
        Span<byte> seed = stackalloc byte[HalfSize * 2];
        if (Convert.FromHexString(signed, signature, out _, out _) is not OperationStatus.Done || !key.IsSignature(Signed(work, saleId, userId), signature)
            || Convert.FromHexString(work.Salt, seed, out _, out _) is not OperationStatus.Done
            || Convert.FromHexString(work.Nonce, seed[HalfSize..], out _, out _) is not OperationStatus.Done) return null;

        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        Derive(seed, (uint)solution.Counter, hash);
        var hex = Convert.ToHexStringLower(hash);
        return hex == found && hex.StartsWith(work.KeyPrefix, StringComparison.Ordinal) ? new SolvedChallenge(hash[..HalfSize].ToArray(), work.ExpiresAt * 1000) : null;
    }

    // The three texts have a fixed length, so two different challenges never have the same signed bytes.
    private static byte[] Signed(ProofParameters work, string saleId, string userId) => Encoding.UTF8.GetBytes(
        $"{work.Salt}{work.Nonce}{work.KeyPrefix}?expires={work.ExpiresAt}&maxnumber={work.Data.MaxNumber}{Challenges.SubjectOf(saleId, userId)}");

    private static void Derive(ReadOnlySpan<byte> seed, uint counter, Span<byte> hash)
    {
        Span<byte> text = stackalloc byte[HalfSize * 2 + sizeof(uint)];
        seed.CopyTo(text);
        BinaryPrimitives.WriteUInt32BigEndian(text[^sizeof(uint)..], counter);
        SHA256.HashData(text, hash);
    }
}
