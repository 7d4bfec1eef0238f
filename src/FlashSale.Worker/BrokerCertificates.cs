using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FlashSale.Platform;

namespace FlashSale.Worker;

/// <summary>
/// Checks the certificate of a broker: an authority that is trusted has signed it, for one of the nodes that the URL
/// names.
/// </summary>
internal sealed class BrokerCertificates
{
    // For a server, if the certificate says for whom.
    private static readonly Oid ServerAuthentication = new("1.3.6.1.5.5.7.3.1");

    private readonly string[] _nodes;
    private readonly X509Certificate2Collection? _authorities;

    private BrokerCertificates(string[] nodes, X509Certificate2Collection? authorities) =>
        (_nodes, _authorities) = (nodes, authorities);

    /// <summary>
    /// Reads the authorities of parameter <c>cacertfile</c>; without it those of the machine are trusted.
    /// </summary>
    /// <exception cref="InvalidSettingException">The file cannot be read or holds no certificate.</exception>
    public static BrokerCertificates For(string[] nodes, ServerUrl url)
    {
        if (url.ExistingFile("cacertfile") is not { } file) return new(nodes, null);
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw url.Refusal($"'cacertfile={file}': {e.Message}");
        }
        return authorities.Count > 0
            ? new(nodes, authorities)
            : throw url.Refusal($"'cacertfile={file}': there is no certificate in it.");
    }

    /// <summary>Judges what a broker shows, as a callback of the TLS handshake.</summary>
    public bool IsTrusted(object sender, X509Certificate? shown, X509Chain? chain, SslPolicyErrors errors)
    {
        if (shown is not X509Certificate2 certificate) return false;
        // MassTransit compares every node with the first one's name. A certificate of another one is as good: the URL
        // trusts that node too.
        if (!_nodes.Any(node => certificate.MatchesHostname(node))) return false;
        return _authorities is null ? !errors.HasFlag(SslPolicyErrors.RemoteCertificateChainErrors) : IsSigned(certificate, chain);
    }

    private bool IsSigned(X509Certificate2 certificate, X509Chain? shown)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities!);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(ServerAuthentication);
        if (shown is not null) chain.ChainPolicy.ExtraStore.AddRange(shown.ChainPolicy.ExtraStore);
        return chain.Build(certificate);
    }
}
