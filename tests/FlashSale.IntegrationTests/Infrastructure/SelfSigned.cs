using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>Files of a server with a certificate for 127.0.0.1 that is its own authority.</summary>
/// <param name="Certificate">The PEM file of the certificate, which clients must trust.</param>
/// <param name="Key">The PEM file of the key.</param>
public sealed record SelfSigned(string Certificate, string Key)
{
    /// <summary>Makes a certificate in a folder.</summary>
    public static async Task<SelfSigned> CreateAsync(string folder, string name, string? owner = null)
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        // As an authority it may sign certificates, first of all its own.
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, pathLengthConstraint: 0, critical: true));
        var now = TimeProvider.System.GetUtcNow();
        using var certificate = request.CreateSelfSigned(now.AddHours(-1), now.AddHours(1));
        var files = new SelfSigned(Path.Combine(folder, $"{name}.crt"), Path.Combine(folder, $"{name}.key"));
        await File.WriteAllTextAsync(files.Certificate, certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(files.Key, key.ExportPkcs8PrivateKeyPem());
        // Servers refuse a key file that others may read.
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(files.Key, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        if (owner is not null && Environment.UserName == "root") await ChildProcess.RunAsync("chown", ["chown", owner, files.Key, files.Certificate]);
        return files;
    }
}
