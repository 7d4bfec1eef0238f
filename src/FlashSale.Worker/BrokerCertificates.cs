using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FlashSale.Platform;

namespace FlashSale.Worker;

/// <summary>
/// Checks a broker's certificate: a trusted authority must have signed it, for one of the nodes that the URL names.
/// </summary>
internal sealed class BrokerCertificates
{
    // The extended key usage of servers. A certificate that lists no usages passes as well.
    private static readonly Oid ServerAuthentication = new("1.3.6.1.5.5.7.3.1");

    private readonly string[] _nodes;
    private readonly X509Certificate2Collection? _authorities;

    private BrokerCertificates(string[] nodes, X509Certificate2Collection? authorities) =>
        (_nodes, _authorities) = (nodes, authorities);

    /// <summary>
    /// Reads the authorities from the file of parameter <c>cacertfile</c>. Without the parameter, the machine's
    /// authorities are trusted.
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

    /// <summary>Callback of the TLS handshake: judges the certificate that a broker shows.</summary>
    public bool IsTrusted(object sender, X509Certificate? shown, X509Chain? chain, SslPolicyErrors errors)
    {
        if (shown is not X509Certificate2 certificate) return false;
        // MassTransit compares every node's certificate with the first node's name. This check accepts the name of any
        // node in the URL, since the URL trusts them all.
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
